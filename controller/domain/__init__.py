"""The shared language of every room: frozen values, events and ports, standard library only."""
