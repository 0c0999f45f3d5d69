// What the tests of the configuration share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config.hpp"

namespace greensup::test {

inline Environment environment() {
    Environment e;
    e.variables = {{"PATH", "/usr/bin:/bin"},
                   {"HOME", "/home/me"},
                   {"LC_ALL", "C"},
                   {"EMPTY", ""},
                   {"SECRET", "s3"}};
    e.working_directory = "/srv/app";
    e.cpus = 4;
    e.uid = 1000;
    return e;
}

inline Result<Config> read(std::string_view text) {
    return read_config(text, "workers.toml", environment());
}

/// A file with one worker "web" whose section holds `keys`.
inline Result<Config> read_worker(const std::string& keys) {
    return read(
        "version = 1\n[sockets.http]\nlisten = \"tcp://127.0.0.1:80\"\n[workers.web]\ncommand = "
        "[\"./web\"]\n" +
        keys + "\n");
}

/// Its mistakes in short: "LINE:COLUMN CODE KEY: MESSAGE".
inline std::vector<std::string> mistakes(const Result<Config>& result) {
    std::vector<std::string> lines;
    if (result) return lines;
    for (const auto& d : result.error())
        lines.push_back(std::to_string(d.place.line) + ":" + std::to_string(d.place.column) + " " +
                        d.code + " " + d.key + ": " + d.message);
    return lines;
}

inline std::string join_for_message(const std::vector<std::string>& lines) {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    return text;
}

/// The one mistake of a worker's section, without its place.
inline std::string mistake_in_worker(const std::string& keys) {
    const auto result = read_worker(keys);
    if (result) return "none";
    std::string text;
    for (const auto& d : result.error())
        text += (text.empty() ? "" : "\n") + d.code + " " + d.key + ": " + d.message;
    return text;
}

}  // namespace greensup::test
