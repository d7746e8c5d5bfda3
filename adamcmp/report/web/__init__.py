"""``report.html`` and ``index.html``, for reading in a browser.

``page_content`` makes the data of a page's script, ``report_page`` and ``index_page`` fill the templates. Scripts,
style and d3 are files under ``static``, which are written into the page, so that it needs no other file.
"""
