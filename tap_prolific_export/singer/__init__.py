"""Singer: the streams, their messages and their state; with `tap`, the only user of the SDK."""
