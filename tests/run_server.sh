#!/bin/sh
# `make run`: the server in the foreground, for trying clients against, on
# port 8900 of loopback; its state in the build directory.
set -eu
build=${BUILD:-build}
dir=$build/run
mkdir -p "$dir/state" "$dir/empty"
chmod 700 "$dir/state"
chmod 755 "$dir/empty"
dir=$(cd "$dir" && pwd)

# As root, three numeric users that nobody has.
uid=64001
users=
if [ "$(id -u)" -eq 0 ]; then
	for role in worker keys auth; do
		while getent passwd $uid >/dev/null || getent group $uid \
		    >/dev/null; do
			uid=$((uid + 1))
		done
		users="$users${role}_user = $uid
"
		uid=$((uid + 1))
	done
else
	echo "Without root: separate users and chroot are left out." >&2
fi
cat > "$dir/flexmusicd.conf" <<EOF
host = { "127.0.0.1" }
port = 8900
auth_method = none
state_dir = "$dir/state"
identity_file = "$dir/identity.pem"
chroot_dir = "$dir/empty"
control_socket = "$dir/control"
$users
EOF
echo "Configuration: $dir/flexmusicd.conf. The first start searches DH" >&2
echo "parameters; then, elsewhere: $build/flexmusic 127.0.0.1 HELP" >&2
echo "Control-C ends the server." >&2
exec "$build/flexmusicd" -d -f "$dir/flexmusicd.conf"
