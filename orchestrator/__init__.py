"""What a session is and what it does next.

`contracts` are the shapes, `kernel` decides, `store` speaks Redis, and client, scheduler and finalizer are what a caller,
a clock and the end of a session need. Nothing here knows Celery, which is the workers' matter, and nothing knows an
app, which is data.
"""

__version__ = "0.1.0"
