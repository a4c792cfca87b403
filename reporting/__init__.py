"""Reporting API, SQL endpoint, web page; writes configuration events."""
