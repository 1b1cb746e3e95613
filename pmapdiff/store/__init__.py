"""The database: schema, engine, append, load. The only place that knows SQL."""
