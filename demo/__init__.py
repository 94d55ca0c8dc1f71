"""The embedded fleet: three bare hosts and a depot beside them, made of this machine's own means."""
