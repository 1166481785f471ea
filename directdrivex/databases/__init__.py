"""Django's database engines with bounded patience: a server whose database is away answers, and does not hang."""
