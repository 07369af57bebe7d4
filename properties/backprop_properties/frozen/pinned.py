"""The SHA-256 sum of the packaged `manifest.json`, which `backprop vectors add` writes here."""

PACKAGED = "df315570e7fe7006fb4220c322a822f4fe4d3e533f711c40c127d8564c0b1716"
