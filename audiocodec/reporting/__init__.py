"""One HTML file about finished evaluations: scores, plots, and clips to listen to and to rate blind."""
