"""The methods of the Reporting API, one module per Matomo module or group of them."""
