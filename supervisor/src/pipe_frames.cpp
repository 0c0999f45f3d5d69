#include "pipe_frames.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "config_schema.hpp"
#include "frames/frame_header.hpp"

namespace greensup {
namespace {

using green::ipc::FrameHeader;
using green::ipc::FrameKind;
using Is = FirstMessage::Is;

std::uint32_t word_at(std::string_view text, std::size_t at) {
    std::uint32_t word = 0;
    std::memcpy(&word, text.data() + at, sizeof word);
    return word;
}

/// Cap'n Proto's stream framing: the number of segments less one, their sizes in words, padding.
FirstMessage first_capnp(std::string_view text) {
    constexpr std::uint32_t most_segments = 512;  // as many as its own readers take
    constexpr std::size_t word = 4;
    if (text.size() < word) return {};
    const auto segments = std::uint64_t{word_at(text, 0)} + 1;
    if (segments > most_segments) return {Is::nonsense, 0};
    const auto table = (1 + segments) * word;
    const auto header = (table + 7) / 8 * 8;
    if (text.size() < header) return {};
    std::uint64_t size = header;
    for (std::uint64_t i = 1; i <= segments; ++i)
        size += std::uint64_t{word_at(text, i * word)} * 8;
    return {Is::known, size};
}

FrameHeader header_of(std::string_view text) {
    return FrameHeader::read(std::as_bytes(std::span{text}).first<FrameHeader::size>(), UINT32_MAX);
}

FirstMessage first_frame(std::string_view text) {
    if (text.size() < FrameHeader::size) return {};
    try {
        return {Is::known, FrameHeader::size + std::uint64_t{header_of(text).bytes}};
    } catch (const green::ProtocolError&) {
        return {Is::nonsense, 0};
    }
}

}  // namespace

Cut cut_of(const PipeConfig& pipe) {
    if (pipe_end(pipe.from).stream.empty()) return Cut::frames;
    switch (pipe.framing) {
        case Framing::lines:
            return Cut::lines;
        case Framing::capnp:
            return Cut::capnp;
        case Framing::bytes:
            break;
    }
    return Cut::bytes;
}

std::optional<KeyChange> obstacle(const PipeConfig& before, const PipeConfig& after) {
    const auto differ = [&](auto of) { return of(before) != of(after); };
    std::string key;
    if (differ([](const auto& pipe) { return pipe.shape == PipeShape::broadcast; })) key = "shape";
    if (differ([](const auto& pipe) { return cut_of(pipe); })) key = "framing";
    if (differ([](const auto& pipe) { return cut_of(pipe) == Cut::frames; })) key = "from";
    for (const auto& change : changes(pipe_schema(), before, after))
        if (change.key == key) return change;
    return std::nullopt;
}

FirstMessage first_message(Cut cut, std::string_view text) {
    switch (cut) {
        case Cut::capnp:
            return first_capnp(text);
        case Cut::frames:
            return first_frame(text);
        case Cut::lines: {
            const auto end = text.find('\n');
            return end == std::string_view::npos ? FirstMessage{}
                                                 : FirstMessage{Is::known, end + 1};
        }
        case Cut::bytes:
            break;
    }
    return text.empty() ? FirstMessage{} : FirstMessage{Is::known, text.size()};
}

std::size_t last_end(Cut cut, std::string_view text, std::size_t limit) {
    limit = std::min(limit, text.size());
    if (cut == Cut::bytes) return limit;
    if (cut == Cut::lines) {
        const auto end = text.substr(0, limit).rfind('\n');
        return end == std::string_view::npos ? 0 : end + 1;
    }
    std::size_t at = 0;
    for (;;) {
        const auto first = first_message(cut, text.substr(at));
        if (first.is != Is::known || first.size > limit - at) return at;
        at += first.size;
    }
}

std::size_t next_end(Cut cut, std::string_view text, std::size_t from) {
    if (cut == Cut::bytes || from == 0) return from;
    if (cut == Cut::lines) {
        const auto end = text.find('\n', from - 1);
        return end == std::string_view::npos ? text.size() : end + 1;
    }
    std::size_t at = 0;
    while (at < from) {
        const auto first = first_message(cut, text.substr(at));
        if (first.is != Is::known || first.size > text.size() - at) return text.size();
        at += first.size;
    }
    return at;
}

// --- the cutter ---

void FrameCutter::take(std::string_view bytes, std::string& into) {
    if (is_broken_ || !skip(bytes)) return;
    if (cut_ == Cut::bytes) {
        into += bytes;
        return;
    }
    // A part of a line has no end in it, and is not looked through again for each piece.
    const bool is_part = cut_ == Cut::lines && bytes.find('\n') == std::string_view::npos;
    part_ += bytes;
    if (is_part && part_.size() <= largest_) return;
    for (;;) {
        part_.erase(0, move_whole(into));
        const auto first = first_message(cut_, part_);
        is_broken_ = first.is == Is::nonsense;
        if (is_broken_) {
            ++torn_;
            part_.clear();
            return;
        }
        const auto size = std::max<std::uint64_t>(first.size, part_.size());
        if (size <= largest_) return;
        ++refused_;
        const auto rest = std::exchange(part_, {});
        std::string_view behind = rest;
        skips_line_ = cut_ == Cut::lines;
        to_skip_ = skips_line_ ? 0 : first.size;
        if (!skip(behind)) return;
        part_ = behind;
    }
}

/// Passes over what is left of a message that was refused. Returns whether it is over.
bool FrameCutter::skip(std::string_view& bytes) {
    if (skips_line_) {
        const auto end = bytes.find('\n');
        if (end == std::string_view::npos) return false;
        bytes.remove_prefix(end + 1);
        skips_line_ = false;
    }
    const auto now = std::min<std::uint64_t>(to_skip_, bytes.size());
    bytes.remove_prefix(now);
    to_skip_ -= now;
    return to_skip_ == 0;
}

std::size_t FrameCutter::move_whole(std::string& into) {
    if (cut_ == Cut::lines) {
        // Each is looked at by itself only where one may be too long.
        const auto end = last_end(cut_, part_, part_.size());
        if (end <= largest_) {
            into.append(part_, 0, end);
            return end;
        }
    }
    std::size_t at = 0;
    for (;;) {
        const auto text = std::string_view{part_}.substr(at);
        const auto first = first_message(cut_, text);
        if (first.is != Is::known || first.size > text.size() || first.size > largest_) return at;
        at += first.size;
        if (cut_ == Cut::frames) {
            const auto header = header_of(text);
            if (header.kind == FrameKind::hello) {
                hello_ = text.substr(0, first.size);
                continue;
            }
            if (header.descriptors > 0) {
                ++refused_;
                continue;
            }
        }
        into.append(text.substr(0, first.size));
    }
}

void FrameCutter::finish(bool in_peace, std::string& into) {
    if (!part_.empty()) {
        if (cut_ == Cut::lines && in_peace) {
            into += part_;
            into += '\n';
        } else {
            ++torn_;
        }
    }
    part_.clear();
}

}  // namespace greensup
