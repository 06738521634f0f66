"""How an HTTP endpoint is declared; knows no room."""
