// Things in an order, put to places in the same order: the matching that the evidence supports best, and how
// much worse it would be without each of its pairs. Promises: exact for the sums it is given; work and memory
// grow with things times places.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace cowvet::repair {

struct OrderQuestion {
  std::size_t things = 0, places = 0;
  std::vector<float> fits{};   // [thing * places + place]: bits for the thing being there
  std::vector<float> empty{};  // bits for a place staying empty, 0 or less
  float left = 0;              // bits for a thing having no place, 0 or less
};

struct OrderAnswer {
  struct Choice {
    std::optional<std::size_t> place;  // nothing: it belongs nowhere, or it is not clear where
    float margin = 0;                  // bits by which everything else is worse
  };
  std::vector<Choice> choices;  // of each thing
};

[[nodiscard]] OrderAnswer match_in_order(const OrderQuestion& question);

}  // namespace cowvet::repair
