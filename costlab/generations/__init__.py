"""Language models: prefill and decode traced from the model itself, their memory and their time."""
