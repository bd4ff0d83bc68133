"""Request time: what happens inside the serving process, from the ASGI call to the spool."""
