#include "diagnostic.hpp"

#include <algorithm>
#include <tuple>

namespace greensup {
namespace {

/// The blanks that put a caret under column `column`. Tabs stay tabs, since nobody knows how wide
/// the reader's terminal shows them; a UTF-8 sequence is one column.
std::string blanks_before(const std::string& line, unsigned column) {
    std::string blanks;
    unsigned at = 1;
    for (const char c : line) {
        const bool continuation = (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
        if (continuation) continue;
        if (at++ >= column) return blanks;
        blanks += c == '\t' ? '\t' : ' ';
    }
    return blanks + std::string(column > at ? column - at : 0, ' ');
}

}  // namespace

std::string to_text(const Diagnostic& diagnostic) {
    std::string text = diagnostic.file;
    if (diagnostic.place.line != 0)
        text += ":" + std::to_string(diagnostic.place.line) + ":" +
                std::to_string(diagnostic.place.column);
    text += ": error[" + diagnostic.code + "]: ";
    if (!diagnostic.key.empty()) text += diagnostic.key + ": ";
    text += diagnostic.message + "\n";
    if (diagnostic.place.line != 0 && !diagnostic.source_line.empty()) {
        text += "    " + diagnostic.source_line + "\n";
        text += "    " + blanks_before(diagnostic.source_line, diagnostic.place.column) + "^\n";
    }
    if (!diagnostic.hint.empty()) text += "    hint: " + diagnostic.hint + "\n";
    return text;
}

std::string to_text(const Diagnostics& diagnostics) {
    std::string text;
    for (const auto& diagnostic : diagnostics) text += to_text(diagnostic);
    return text;
}

Diagnostic Places::mistake(std::string code, const std::string& key, std::string message,
                           std::string hint) const {
    auto source = source_of(key);
    return {file_,           source.place,          std::move(code), key, std::move(message),
            std::move(hint), std::move(source.line)};
}

Places::Source Places::source_of(const std::string& key) const {
    if (const auto found = by_key_.find(key); found != by_key_.end()) return found->second;
    const auto dot = key.rfind('.');
    return dot == std::string::npos ? Source{} : source_of(key.substr(0, dot));
}

void sort_by_place(Diagnostics& diagnostics) {
    const auto order = [](const Diagnostic& d) {
        return std::tie(d.place, d.code, d.key, d.message);
    };
    std::stable_sort(diagnostics.begin(), diagnostics.end(),
                     [&](const Diagnostic& a, const Diagnostic& b) { return order(a) < order(b); });
    diagnostics.erase(std::unique(diagnostics.begin(), diagnostics.end()), diagnostics.end());
}

}  // namespace greensup
