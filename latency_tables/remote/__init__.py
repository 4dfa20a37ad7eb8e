"""Devices that cannot run this project: a bundle of compiled models goes there with a small runner, results come back.

`bundle` writes and checks the bundle, `runner` is what runs on the device (it imports nothing of this project),
`results` reads what it wrote, `table` makes an ordinary `LatencyTable` of it.
"""
