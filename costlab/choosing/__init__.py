"""Which pretrained network: published accuracies beside costs and predicted times, inside budgets."""
