"""The Unix socket: who may connect, what is asked, and one file for each kind of request."""
