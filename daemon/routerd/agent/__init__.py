"""The login agent: what launchd or systemd is told, how it is asked, and a daemon's side of both."""
