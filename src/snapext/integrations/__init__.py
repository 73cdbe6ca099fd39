"""One module for each library that keeps what must not be frozen: `snapext.integrations.sqlalchemy.install()`."""
