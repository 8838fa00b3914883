"""Hours of Packit in a minute: what the dashboards show, with the settings as they are shipped.

A real busmon under a clock that is moved, a real Redis and Flower, a gateway that adds up what
Packit's workers push. All are read every 15 s of that clock, and a real Prometheus serves it.
"""
