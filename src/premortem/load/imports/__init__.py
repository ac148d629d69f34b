"""Journeys from what a team already has: a HAR, an OpenAPI document, access logs, a locustfile."""
