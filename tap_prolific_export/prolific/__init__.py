"""The Prolific API: its calls and the life cycle of export jobs. No Singer, no ZIP."""
