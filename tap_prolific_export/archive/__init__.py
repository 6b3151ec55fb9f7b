"""An export's ZIP, untrusted, wherever it lies: its bytes, its members, its lines."""
