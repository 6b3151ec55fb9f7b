"""Copy uploaded files from an archive into a store."""
