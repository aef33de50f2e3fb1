{
  "targets": [
    {
      "target_name": "lunet",
      "sources": [
        "addon.cc",
        "burst.cc",
        "checksum.cc",
        "eal.cc",
        "error.cc",
        "iface.cc",
        "memif.cc",
        "memif_rings.cc",
        "netlink.cc",
        "pool.cc",
        "port.cc",
        "port_js.cc",
        "quiesce.cc",
        "residue.cc",
        "stage.cc",
        "thread.cc",
        "wakeup.cc",
        "xdp.cc",
        "zones.cc"
      ],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")"],
      "defines": ["NAPI_DISABLE_CPP_EXCEPTIONS", "NAPI_VERSION=8", "ALLOW_EXPERIMENTAL_API"],
      "cflags": ["-O3", "-Wall", "-Wextra", "-Wno-unused-parameter", "<!@(pkg-config --cflags libdpdk)"],
      "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fvisibility=hidden"],
      "libraries": [
        "<!@(pkg-config --libs-only-L libdpdk)",
        "-lrte_ethdev",
        "-lrte_mempool",
        "-lrte_mbuf",
        "-lrte_eal",
        "<!@(pkg-config --libs libbpf)"
      ],
      "ldflags": ["-Wl,--as-needed"]
    }
  ]
}
