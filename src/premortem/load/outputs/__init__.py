"""Results of load tests for machines and people: JUnit, OpenMetrics, CSV, one HTML page. Pure."""
