"""Devices that cannot run this project: a bundle of compiled models goes there with a small runner, results come back.

`bundle` writes and checks the bundle, `on_device` is what runs there (it imports nothing of this project),
`results` reads what it wrote, `table` makes an ordinary `LatencyTable` of it.
"""
