"""``report.html`` and ``index.html``: what stands beside the tables and figures, for people who look.

``content`` says what the page's script is given of a task, ``page`` and ``index`` fill the templates; scripts and style
and d3 are files of their own under ``static``, written into the page as they are, so that it needs nothing but itself.
"""
