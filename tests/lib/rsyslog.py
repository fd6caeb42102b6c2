"""rsyslogd as the receiver of a server's log, on a socket of the test's own."""

import os
import shutil
import signal
import socket
import subprocess

import harness

RSYSLOGD = shutil.which("rsyslogd", path=os.environ.get("PATH", "") +
                        ":/usr/sbin:/sbin")

CONFIG = """\
global(workDirectory="{directory}" maxMessageSize="8k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{socket}" RateLimit.Interval="0"
      UsePIDFromSystem="off" UseSysTimeStamp="off" Annotate="off")
template(name="line" type="string"
         string="%syslogfacility%.%syslogseverity% %programname%[%procid%]:\
%msg%\\n")
action(type="omfile" file="{file}" template="line" asyncWriting="off")
"""


class Rsyslog:
    """A receiver of our own: rsyslogd on a socket in a folder."""

    def __init__(self, directory):
        self.socket = os.path.join(directory, "rsyslog.socket")
        self.file = os.path.join(directory, "rsyslog.lines")
        self.config = os.path.join(directory, "rsyslog.conf")
        self.pid_file = os.path.join(directory, "rsyslog.pid")
        self.errors = os.path.join(directory, "rsyslog.errors")
        self.process = None
        with open(self.config, "w") as f:
            f.write(CONFIG.format(directory=directory, socket=self.socket,
                                  file=self.file))

    def start(self):
        """Starts it and waits for its socket."""
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(
                [RSYSLOGD, "-n", "-i", self.pid_file, "-f", self.config],
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                preexec_fn=harness.become(None))
        harness.wait_for("rsyslogd", self.is_there)
        return self

    def is_there(self):
        """True when it takes datagrams."""
        if self.process.poll() is not None:
            with open(self.errors) as f:
                raise AssertionError("rsyslogd ended: " + f.read())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            try:
                s.connect(self.socket)
            except OSError:
                return False
        return True

    def stop(self):
        """Stops it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(harness.DEADLINE)

    def lines(self):
        """What it has written of our daemon."""
        try:
            with open(self.file, "rb") as f:
                data = f.read()
        except FileNotFoundError:
            return []
        return [line.decode() for line in data.split(b"\n")
                if b" flexmusicd[" in line]

    def events(self):
        """The same as events."""
        return [harness.Event(line) for line in self.lines()]

    def wait(self, name, **fields):
        """Waits for an event in its file."""
        return harness.wait_for(
            "%s %s at rsyslog" % (name, fields),
            lambda: [e for e in self.events() if e.matches(name, fields)])[-1]
