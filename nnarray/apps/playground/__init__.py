"""The playground: a network that is trained, watched and changed in a browser. See PROTOCOL.md."""
