"""The Prolific API: its calls, and the life of export jobs; no Singer, no ZIP."""
