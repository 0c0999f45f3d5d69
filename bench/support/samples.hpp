/// The driver for Cap'n Proto messages from one process to another: two_processes.hpp, but a
/// Transport has
///
///     template <class Build> void send(Build&& build);      // build(Sample::Builder)
///                                                           // or with a green::ipc::Attachments
///     template <class Look> void receive(Look&& look);      // look(Sample::Reader)
#pragma once

#include <array>
#include <sample.capnp.h>

#include <kj/common.h>

#include "two_processes.hpp"

namespace bench {

/// Of all bytes, those of a last incomplete word left out.
inline std::uint64_t sum_of_words(kj::ArrayPtr<const kj::byte> bytes) {
    std::array<std::uint64_t, 4> words{};
    std::array<std::uint64_t, 4> sums{};  // independent of each other: the processor adds at once
    std::size_t at = 0;
    for (; at + sizeof words <= bytes.size(); at += sizeof words) {
        std::memcpy(words.data(), bytes.begin() + at, sizeof words);
        for (std::size_t i = 0; i < words.size(); ++i) sums[i] += words[i];
    }
    for (; at + sizeof words[0] <= bytes.size(); at += sizeof words[0]) {
        std::memcpy(words.data(), bytes.begin() + at, sizeof words[0]);
        sums[0] += words[0];
    }
    return sums[0] + sums[1] + sums[2] + sums[3];
}

/// What the receiver does with a payload: look at both ends of it, as one does who passes it on or
/// needs a part of it, or add all of it up.
enum class Reading { ends, everything };

/// Messages per second, in the steady state. The sender sets all fields and copies the payload into
/// the message; the receiver reads all fields, and checks the whole payload of the first messages.
template <class Transport, Reading reading>
double samples_per_second(const Options& options) {
    constexpr std::uint32_t kind = 7;
    constexpr kj::StringPtr name = "worker-1"_kj;
    constexpr std::uint64_t checked_wholly = 100;
    constexpr std::size_t own_segment = 4096;  // bytes that are worth a segment of their own
    std::vector<kj::byte> payload(options.payload);
    for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<kj::byte>(i * 7 + 1);
    const auto bytes = kj::arrayPtr(std::as_const(payload).data(), payload.size());
    const auto data = std::as_bytes(std::span{payload});
    const auto sum = sum_of_words(bytes);
    const auto is_whole = [&](capnp::Data::Reader found, std::uint64_t number) {
        if (found.size() != bytes.size() || found.front() != bytes.front() ||
            found.back() != bytes.back())
            return false;
        return (reading == Reading::ends && number >= checked_wholly) || sum_of_words(found) == sum;
    };
    Transport transport{options};
    return messages_per_second(
        options, transport,
        [&](std::uint64_t number) {
            transport.send([&](Sample::Builder sample, auto&... attachments) {
                sample.setSequence(number);
                sample.setTime(number);
                sample.setKind(kind);
                sample.setName(name);
                if constexpr (sizeof...(attachments) == 1) {
                    if (data.size() >= own_segment)
                        return sample.adoptPayload((attachments.copy(data), ...));
                }
                sample.setPayload(bytes);
            });
        },
        [&](std::uint64_t number) {
            transport.receive([&](Sample::Reader sample) {
                if (sample.getSequence() != number || sample.getTime() != number ||
                    sample.getKind() != kind || sample.getName() != name ||
                    !is_whole(sample.getPayload(), number))
                    throw std::runtime_error("a message was lost or damaged");
            });
        });
}

}  // namespace bench
