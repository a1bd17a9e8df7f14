"""Forecasting: forecasts with the promoted model, and its backtest."""
