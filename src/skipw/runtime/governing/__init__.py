"""The governor: it holds a latency or an energy budget by moving a stream along its front."""
