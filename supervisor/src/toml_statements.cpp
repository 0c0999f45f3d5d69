#include "toml_statements.hpp"

#include <algorithm>
#include <string_view>

namespace greensup {
namespace {

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

bool is_header(std::string_view line) {
    // An array's continuation line may begin with [ too, but holds no name before its ].
    const auto text = trimmed(line);
    if (!text.starts_with('[')) return false;
    const auto name = text.find_first_not_of("[ \t");
    return name != std::string_view::npos && text[name] != ']' && text[name] != ',' &&
           text.find(',') == std::string_view::npos;
}

bool is_key_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '"' || c == '\'' || c == ' ' || c == '\t';
}

/// "name = …": what a new statement looks like, even inside a bracket somebody forgot to close.
bool is_assignment(std::string_view line) {
    const auto text = trimmed(line);
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0) return false;
    return std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(equals),
                       is_key_character);
}

/// Follows strings, comments and brackets through a text, line by line.
class Scanner {
 public:
    void feed(std::string_view line, unsigned number) {
        if (depth() == 0 && multiline_.empty()) statement_ = number;
        for (std::size_t i = 0; i < line.size(); ++i) {
            if (!multiline_.empty()) {
                if (multiline_ == R"(""")" && line[i] == '\\') {
                    ++i;
                } else if (line.substr(i).starts_with(multiline_)) {
                    i += 2, multiline_ = {};
                }
            } else if (line[i] == '#') {
                return;
            } else if (line.substr(i).starts_with(R"(""")") || line.substr(i).starts_with("'''")) {
                multiline_ = line[i] == '"' ? R"(""")" : "'''";
                i += 2;
            } else if (line[i] == '"' || line[i] == '\'') {
                i = end_of_string(line, i);
            } else if (line[i] == '[' || line[i] == '{') {
                open_.push_back(number);
            } else if ((line[i] == ']' || line[i] == '}') && !open_.empty()) {
                open_.pop_back();
            }
        }
    }

    [[nodiscard]] std::size_t depth() const { return open_.size(); }
    [[nodiscard]] bool inside() const { return !open_.empty() || !multiline_.empty(); }
    [[nodiscard]] unsigned innermost() const { return open_.empty() ? 0 : open_.back(); }
    [[nodiscard]] unsigned statement() const { return statement_; }
    void forget() { open_.clear(), multiline_ = {}; }

 private:
    static std::size_t end_of_string(std::string_view line, std::size_t begin) {
        for (std::size_t i = begin + 1; i < line.size(); ++i) {
            if (line[i] == '\\' && line[begin] == '"') {
                ++i;
            } else if (line[i] == line[begin]) {
                return i;
            }
        }
        return line.size();
    }

    std::vector<unsigned> open_;
    std::string_view multiline_;
    unsigned statement_ = 1;
};

/// What a line defines: the header, or the left side of the assignment.
std::string_view subject(std::string_view line) {
    const auto text = trimmed(line);
    if (is_header(text)) return text.substr(0, text.find(']') + 1);
    return trimmed(text.substr(0, text.find('=')));
}

}  // namespace

OpenBracket open_bracket(const std::vector<std::string>& lines, unsigned line) {
    Scanner scanner;
    for (unsigned number = 1; number < line && number <= lines.size(); ++number) {
        // A new statement ends what was left open before: one forgotten bracket is one mistake.
        if (scanner.depth() > 0 &&
            (is_header(lines[number - 1]) || is_assignment(lines[number - 1])))
            scanner.forget();
        scanner.feed(lines[number - 1], number);
    }
    if (!scanner.inside()) return {};
    return {scanner.innermost(), scanner.statement()};
}

LineRange lines_to_skip(const std::vector<std::string>& lines, unsigned line) {
    if (lines.empty()) return {1, 1};
    const auto last_line = static_cast<unsigned>(lines.size());
    line = std::clamp(line, 1U, last_line);
    const auto open = open_bracket(lines, line);
    const auto& text = lines[line - 1];
    if (open.statement_first != 0) {
        const bool next_statement = is_header(text) || is_assignment(text);
        return {open.statement_first, next_statement ? line - 1 : line};
    }
    if (!is_header(text)) return {line, line};
    auto last = line;
    while (last < last_line && !is_header(lines[last])) ++last;
    return {line, last};
}

unsigned earlier_definition(const std::vector<std::string>& lines, unsigned line) {
    if (line == 0 || line > lines.size()) return 0;
    const auto wanted = subject(lines[line - 1]);
    const bool header = is_header(lines[line - 1]);
    for (auto number = line - 1; number >= 1; --number) {
        if (is_header(lines[number - 1]) && !header) return 0;  // an equal key there is another one
        if (subject(lines[number - 1]) == wanted) return number;
    }
    return 0;
}

}  // namespace greensup
