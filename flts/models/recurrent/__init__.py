"""GRU and LSTM forecasters."""
