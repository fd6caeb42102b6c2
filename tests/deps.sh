#!/bin/sh
# What building and testing needs (tests/packages.txt), or with `demo` what is
# needed without the tests: installed where this runs as root on Debian or
# Ubuntu; otherwise the one command that does it is printed, and the end.
set -eu
list=$(dirname "$0")/packages.txt
last='$'
[ "${1:-}" != demo ] || last='/^# For the tests alone/'
packages=$(sed "$last q" "$list" | sed 's/#.*//' | tr -s ' \n' '  ')

if ! command -v dpkg-query >/dev/null; then
	if pkg-config --exists libbsd-overlay libcrypto libseccomp \
	    libevent_core libconfuse 2>/dev/null && command -v cc >/dev/null
	then
		exit 0
	fi
	echo "Install the equivalents of these Debian packages:$packages" >&2
	exit 1
fi

missing=
for package in $packages; do
	case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in
	ii*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "Packages are missing. As root:" >&2
	echo "apt-get install --no-install-recommends$missing" >&2
	exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# A service that a package brings is not to start: the tests run their own.
trap 'rm -f "$policy"' EXIT
policy=
if [ ! -e /usr/sbin/policy-rc.d ]; then
	policy=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' > "$policy"
	chmod 755 "$policy"
fi
apt-get -qq update
# shellcheck disable=SC2086
apt-get -qq install --no-install-recommends $missing >/dev/null
