"""Studies: replicates of networks, ensembles and students, trained and tested."""
