#include "repair/order_match.hpp"

#include <algorithm>

namespace cowvet::repair {

// front[i][j]: the best for the first i things in the first j places; back[i][j]: for the things from i and
// places from j on.
OrderAnswer match_in_order(const OrderQuestion& q) {
  const std::size_t n = q.things, m = q.places, width = m + 1;
  std::vector<float> front((n + 1) * width), back((n + 1) * width);
  const auto fits = [&](std::size_t i, std::size_t j) { return q.fits[i * m + j]; };
  for (std::size_t j = 1; j <= m; ++j) front[j] = front[j - 1] + q.empty[j - 1];
  for (std::size_t i = 1; i <= n; ++i) {
    front[i * width] = front[(i - 1) * width] + q.left;
    for (std::size_t j = 1; j <= m; ++j)
      front[i * width + j] =
          std::max({front[(i - 1) * width + j] + q.left, front[i * width + j - 1] + q.empty[j - 1],
                    front[(i - 1) * width + j - 1] + fits(i - 1, j - 1)});
  }
  for (std::size_t j = m; j-- > 0;) back[n * width + j] = back[n * width + j + 1] + q.empty[j];
  for (std::size_t i = n; i-- > 0;) {
    back[i * width + m] = back[(i + 1) * width + m] + q.left;
    for (std::size_t j = m; j-- > 0;)
      back[i * width + j] =
          std::max({back[(i + 1) * width + j] + q.left, back[i * width + j + 1] + q.empty[j],
                    back[(i + 1) * width + j + 1] + fits(i, j)});
  }
  OrderAnswer answer;
  answer.choices.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    // The best without a place for it, then the best and the second of the places.
    float best = front[i * width] + q.left + back[(i + 1) * width], second = -1e30F;
    for (std::size_t j = 1; j <= m; ++j)
      best = std::max(best, front[i * width + j] + q.left + back[(i + 1) * width + j]);
    std::optional<std::size_t> place;
    for (std::size_t j = 0; j < m; ++j) {
      const float total = front[i * width + j] + fits(i, j) + back[(i + 1) * width + j + 1];
      if (total > best) {
        second = best;
        best = total;
        place = j;
      } else {
        second = std::max(second, total);
      }
    }
    answer.choices[i] = {place, best - second};
  }
  return answer;
}

}  // namespace cowvet::repair
