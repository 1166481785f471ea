"""How times are written by the server, one module a language; the pages' format.js writes its own alike."""
