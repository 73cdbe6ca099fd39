"""Those who take part: on the socket, by signal, and what is known of their ends."""
