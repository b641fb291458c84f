"""Sample lakehouses: 150 synthetic patients (`load`), any number of them (`generate`), and a day of change (`changes`)."""
