#include "count.hpp"

Count count(std::string_view text) noexcept {
    Count result;
    result.bytes = text.size();
    bool in_word = false;
    for (const char character : text) {
        const auto byte = static_cast<unsigned char>(character);
        if (byte == ' ' || (byte >= '\t' && byte <= '\r')) {
            in_word = false;
            if (byte == '\n') ++result.lines;
        } else if (byte > ' ' && byte < 0x7f && !in_word) {
            in_word = true;
            ++result.words;
        }
    }
    return result;
}
