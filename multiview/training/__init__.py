"""Training one network: objectives, steps, the flow; where it runs and what it costs."""
