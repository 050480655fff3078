"""Speed and memory against dense torch.nn layers: workloads, timing, targets, table and plot (docs/speed.md)."""
