#include "variables.hpp"

#include <algorithm>
#include <utility>

namespace greensup {
namespace {

bool is_name(std::string_view text) {
    if (text.empty() || (text.front() >= '0' && text.front() <= '9')) return false;
    for (const char c : text) {
        const bool plain =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '_' && c != '.') return false;
    }
    return true;
}

/// What stands between the braces: NAME, and possibly an operator with its text.
struct Reference {
    std::string_view name;
    std::string_view operation;  // "", ":-" or ":?"
    std::string_view text;
};

Reference take_apart(std::string_view inside) {
    const auto colon = inside.find(':');
    if (colon == std::string_view::npos) return {inside, {}, {}};
    return {inside.substr(0, colon), inside.substr(colon, 2),
            inside.substr(std::min(colon + 2, inside.size()))};
}

class Expander {
 public:
    Expander(const std::map<std::string, std::string>& variables,
             const std::map<std::string, std::string>& built_in, bool keep_instance)
        : variables_(variables), built_in_(built_in), keep_instance_(keep_instance) {}

    Expanded run(std::string_view text) {
        for (std::size_t at = 0; at < text.size();) {
            const auto rest = text.substr(at);
            if (rest.starts_with("$$")) {
                result_.text += keep_instance_ ? "$$" : "$";
                at += 2;
            } else if (rest.starts_with("${")) {
                const auto end = rest.find('}');
                if (end == std::string_view::npos) {
                    mistake(at, "${ is never closed",
                            "write } after the name, or $$ for a dollar sign");
                    break;
                }
                replace(at, rest.substr(0, end + 1));
                at += end + 1;
            } else {
                result_.text += text[at++];
            }
        }
        return std::move(result_);
    }

 private:
    void mistake(std::size_t at, std::string message, std::string hint) {
        result_.mistakes.push_back({at, std::move(message), std::move(hint)});
    }

    void replace(std::size_t at, std::string_view whole) {
        const auto [name, operation, text] = take_apart(whole.substr(2, whole.size() - 3));
        const bool known_operation = operation.empty() || operation == ":-" || operation == ":?";
        if (!is_name(name) || !known_operation) {
            mistake(at, std::string(whole) + " is not a variable",
                    "write ${NAME}, ${NAME:-default}, ${NAME:?text}, or $$ for a dollar sign");
        } else if (text.find("${") != std::string_view::npos) {
            mistake(at, "a default or text cannot hold another variable",
                    "give " + std::string(name) + " a plain one");
        } else if (name.find('.') != std::string_view::npos) {
            replace_built_in(at, name, whole);
        } else {
            replace_variable(at, name, operation, text);
        }
    }

    void replace_built_in(std::size_t at, std::string_view name, std::string_view whole) {
        const auto found = built_in_.find(std::string(name));
        if (found != built_in_.end()) {
            result_.text += found->second;
        } else if (name == "instance.index" || name == "instance.count" ||
                   name == "instance.generation") {
            if (keep_instance_) {
                result_.text += whole;
            } else {
                mistake(at, std::string(whole) + " has no value here",
                        "only command, cwd and env of a worker know their instance");
            }
        } else {
            mistake(at, "no variable named " + std::string(name) + " here",
                    "known: ${worker.name} and ${instance.index}, .count, .generation in a worker; "
                    "${config.dir}; ${run.dir} outside [supervisor]");
        }
    }

    void replace_variable(std::size_t at, std::string_view name, std::string_view operation,
                          std::string_view text) {
        const auto found = variables_.find(std::string(name));
        const bool set = found != variables_.end();
        if (set && (operation.empty() || !found->second.empty())) {
            // A value may look like a variable; the second half must not take it for one.
            append_literally(found->second);
        } else if (operation == ":-") {
            append_literally(text);
        } else if (operation == ":?") {
            mistake(at,
                    text.empty() ? "${" + std::string(name) + "} is not set" : std::string(text),
                    "export " + std::string(name));
        } else {
            mistake(at, "${" + std::string(name) + "} is not set",
                    "write ${" + std::string(name) + ":-default} or export it");
        }
    }

    void append_literally(std::string_view text) {
        for (const char c : text) {
            if (c == '$' && keep_instance_) result_.text += '$';
            result_.text += c;
        }
    }

    const std::map<std::string, std::string>& variables_;
    const std::map<std::string, std::string>& built_in_;
    bool keep_instance_;
    Expanded result_;
};

}  // namespace

Expanded expand(std::string_view text, const std::map<std::string, std::string>& variables,
                const std::map<std::string, std::string>& built_in, bool keep_instance) {
    return Expander{variables, built_in, keep_instance}.run(text);
}

std::string expand_instance(std::string_view text, const InstanceVariables& instance) {
    const std::map<std::string, std::string> values = {
        {"instance.index", std::to_string(instance.index)},
        {"instance.count", std::to_string(instance.count)},
        {"instance.generation", std::to_string(instance.generation)},
    };
    return expand(text, {}, values, false).text;
}

}  // namespace greensup
