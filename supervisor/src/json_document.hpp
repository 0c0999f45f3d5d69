// What all our JSON shares. Includes nlohmann's header, so it is for the few sources that write
// JSON.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "diagnostic.hpp"

namespace greensup {

/// Fields in the order of writing: people read this too.
using Document = nlohmann::ordered_json;

inline constexpr const char* schema_name = "greensup/1";

/// Paths and program names may be any bytes; broken UTF-8 must not break the document.
std::string dump(const Document& document, bool pretty = false);

Document write(const Diagnostic& diagnostic);

}  // namespace greensup
