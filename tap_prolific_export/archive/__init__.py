"""Read an export's ZIP, which is untrusted, from disk or over HTTP: bytes, members, lines."""
